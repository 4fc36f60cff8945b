"""A decoder's child process without restrictions, to compare with."""

from workers.decoding import child

if __name__ == "__main__":
    child.restrict = lambda **limits: []  # type: ignore[assignment]
    child.main()
