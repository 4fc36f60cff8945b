"""Objects of s3://bucket/key: the client, retries, and the failure that an error becomes.

The storage is configured by the usual AWS_* environment variables. No message ever carries a
credential, a signed address or a temporary path.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sta.retry import ErrorKind, Retries, RetryPolicy, classify, is_network_error
from workers.failures import ErrorType, UnitFailure

CHUNK_BYTES = 1 << 20

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
            f"only {done:,} of {size:,} bytes came from the object storage within "
            f"{retries.policy.seconds:g} s",
        )


def object_address(uri: str) -> tuple[str, str]:
    """(bucket, key) of s3://bucket/key; raises UnitFailure for another address."""
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not bucket or not key:
        raise UnitFailure(ErrorType.not_found, "an object's address is s3://bucket/key")
    return bucket, key


def condition(etag: str | None) -> dict[str, str]:
    """Request parameters that require this ETag."""
    if not etag:
        return {}
    return {"IfMatch": etag if etag.startswith(('"', "W/")) else f'"{etag}"'}


def client_for(policy: RetryPolicy) -> Any:
    """A client whose timeouts leave time for several attempts."""
    return s3_client(*policy.timeouts())


@lru_cache(maxsize=2)
def s3_client(connect_s: float, read_s: float) -> Any:
    """The process's S3 client, imported late: workers with local files never pay for boto3.

    It makes one attempt; `Retries` repeats it.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=connect_s,
        read_timeout=read_s,
        max_pool_connections=2,
    )
    return boto3.session.Session().client("s3", config=config)


def storage_failure(error: Exception) -> UnitFailure:
    """The failure row for an exception of boto3 or of the network."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        return _client_failure(error)
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        return UnitFailure(ErrorType.forbidden, "no credentials for the object storage were found")
    if isinstance(error, boto.ParamValidationError):
        return UnitFailure(ErrorType.not_found, "not a valid bucket or key name")
    if isinstance(error, boto.NoRegionError | boto.ProfileNotFound):
        return UnitFailure(
            ErrorType.internal, "the object storage is not configured: check the AWS_* variables"
        )
    if isinstance(error, boto.CredentialRetrievalError | boto.MetadataRetrievalError):
        return UnitFailure(ErrorType.forbidden, "credentials for the object storage did not come")
    if is_network_error(error):
        return UnitFailure(
            ErrorType.unavailable,
            f"the object storage did not answer completely ({type(error).__name__})",
        )
    return UnitFailure(ErrorType.internal, f"fetching failed with {type(error).__name__}")


def _client_failure(error: Any) -> UnitFailure:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    kind = classify(status, code)
    message = {
        "archived": "the object lies in a cold archive; restore it first",
        "changed": "the object was replaced while it was being read",
        "not_found": "no such object",
    }.get(kind, f"the object storage answered {code or status}")
    return UnitFailure(_ERROR_TYPES[kind], message)


def changed_since_listed(failure: UnitFailure) -> UnitFailure:
    """The same failure, with the message for an object of which nothing was read yet."""
    if failure.error_type is not ErrorType.changed:
        return failure
    return UnitFailure(
        ErrorType.changed, "the object changed since it was listed; list the archive again"
    )
