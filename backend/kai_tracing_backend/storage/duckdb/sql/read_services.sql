SELECT DISTINCT service FROM rates WHERE minute BETWEEN $first AND $last
