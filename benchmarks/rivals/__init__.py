"""What people would write instead, as the tutorials have it; each is measured beside ours."""
