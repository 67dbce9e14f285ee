"""Studies as Prefect flows: the only code that knows Prefect, thin around plain functions.

`study`, `cell`, `distill` and `refresh` are the flows, `conduct` what the first two do, `artifacts` what Prefect's own
pages show, `pool` a deployment of cells, `command` the command line. Below them nothing knows Prefect: `pieces` (what
there is to do), `workers` and `children` (processes), `fanout` (cells sent elsewhere), `reference` (what is told of
them), `life` (whether they are), `progress` (what is shown), `server` (an embedded Prefect server that goes when its
owner goes).
"""
