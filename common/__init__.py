"""What the receiver and the workers share: the record, its wire formats, the job contract, settings, errors."""
