"""Retries of fetching an object, and the failure that an error becomes.

No message ever carries a credential, a signed address or a temporary path.
"""

from __future__ import annotations

from sta.transport.responses import StoreError
from sta.transport.retry import ErrorKind, Retries
from workers.failures import ErrorType, UnitFailure

_ERROR_TYPES: dict[ErrorKind, ErrorType] = {
    "transient": ErrorType.unavailable,
    "changed": ErrorType.changed,
    "not_found": ErrorType.not_found,
    "forbidden": ErrorType.forbidden,
    "archived": ErrorType.forbidden,
    "other": ErrorType.internal,
}


def wait_or_raise(retries: Retries, problem: Exception) -> None:
    """Wait before the next attempt; raise UnitFailure if `problem` is final or time is up."""
    if isinstance(problem, UnitFailure):
        raise problem
    failure = storage_failure(problem)
    if failure.error_type is not ErrorType.unavailable:
        raise failure from None
    if not retries.wait():
        raise UnitFailure(
            ErrorType.unavailable,
            f"fetching was given up after {retries.policy.seconds:g} s: {failure.message}",
        ) from None


def check_progress(retries: Retries, done: int, size: int) -> None:
    """Record that `done` of `size` bytes have arrived; raise UnitFailure if time is up."""
    retries.progressed()
    if done < size and retries.remaining_s <= 0:
        raise UnitFailure(
            ErrorType.unavailable,
            f"only {done:,} of {size:,} bytes came within {retries.policy.seconds:g} s",
        )


def storage_failure(error: Exception) -> UnitFailure:
    """The failure row for an exception of a store, the network or the disk."""
    if isinstance(error, StoreError):
        return UnitFailure(_ERROR_TYPES[error.kind], str(error))
    if isinstance(error, OSError):
        return UnitFailure(
            ErrorType.unavailable, f"the answer was not complete ({type(error).__name__})"
        )
    return UnitFailure(ErrorType.internal, f"fetching failed with {type(error).__name__}")


def changed_since_listed(failure: UnitFailure) -> UnitFailure:
    """The same failure, with the message for an object of which nothing was read yet."""
    if failure.error_type is not ErrorType.changed:
        return failure
    return UnitFailure(
        ErrorType.changed, "the object changed since it was listed; list the archive again"
    )
