"""A fuzzer of the three HTTP ports: broadway-api's public and internal port, broadway-scheduler's port."""
