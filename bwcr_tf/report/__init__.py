"""One page of many runs: tables, tests and figures."""
