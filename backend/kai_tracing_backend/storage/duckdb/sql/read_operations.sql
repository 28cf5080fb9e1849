SELECT DISTINCT name, kind FROM rates WHERE service = $service AND minute BETWEEN $first AND $last
