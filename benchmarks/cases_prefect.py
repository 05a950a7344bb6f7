"""Prefect's worker: the workflow cases, with Prefect as it comes."""

from __future__ import annotations

import workflow
from prefect import flow, task
from prefect.cache_policies import INPUTS, NO_CACHE
from worker import main

if __name__ == "__main__":
    main(workflow.cases(workflow.Api(flow=flow, task=task, inputs=INPUTS, no_cache=NO_CACHE)))
