"""Settings by which the libraries of table formats reach an object store as this program does."""

from __future__ import annotations

import os

import boto3

from pipeline.storage.location import Location


def storage_options(place: Location) -> dict[str, str] | None:
    """Endpoint, region and credentials as boto3 finds them; None for other places than S3.

    The libraries look in fewer places: they know no profile, and refuse a plain http:// endpoint.
    """
    if not place.uri.startswith("s3://"):
        return None
    session = boto3.Session()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    found = {"aws_region": session.region_name, "aws_endpoint": endpoint}
    if endpoint is not None and endpoint.startswith("http://"):
        found["aws_allow_http"] = "true"
    if (credentials := session.get_credentials()) is not None:
        frozen = credentials.get_frozen_credentials()
        found["aws_access_key_id"] = frozen.access_key
        found["aws_secret_access_key"] = frozen.secret_key
        found["aws_session_token"] = frozen.token
    return {name: value for name, value in found.items() if value}
