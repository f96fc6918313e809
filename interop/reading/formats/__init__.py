"""One module a file format, and the table that names them."""
