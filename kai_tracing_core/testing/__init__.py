"""What tests of tracing need: the contract suites, a leak detector, fixed ids and a fixed clock."""
