"""Bytes from other machines: object storage, web servers, retries, and one error for all."""
