"""The worker of Prefect with prefect-aws, as its documentation shows it."""

from __future__ import annotations

import os

import far
from prefect import flow, task
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect_aws import AwsCredentials, S3Bucket
from worker import main

if __name__ == "__main__":
    bucket = S3Bucket(
        credentials=AwsCredentials(**far.credentials()),
        bucket_name=os.environ["BENCHMARK_BUCKET"],
    )
    bucket.save("benchmark", overwrite=True)
    main(far.cases(far.FarApi(flow=flow, task=task, inputs=INPUTS, no_cache=NO_CACHE, bucket=bucket)))
