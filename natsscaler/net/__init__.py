"""What every connection needs, whoever asks for it: the allow-list, TLS, and what listens at an address."""
