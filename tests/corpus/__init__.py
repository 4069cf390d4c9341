"""Files to upload: hostile, odd and honest ones, every byte of them made here."""
