"""Files that declare TLS versions: what each importer knows of one kind of file."""
