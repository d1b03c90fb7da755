"""Traffic that looks like the provider's: calls, the bodies they are sent in, and the posting of them."""
