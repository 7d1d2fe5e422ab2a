"""One file a command: options in, one call into the package, result out."""
