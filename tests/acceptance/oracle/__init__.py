"""The oracle: drives the running product through a seeded schedule of faults and checks that nothing acknowledged is lost."""
