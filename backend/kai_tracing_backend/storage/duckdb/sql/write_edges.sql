INSERT INTO edges SELECT minute, parent, child, calls, weight, errors FROM found
