"""The `cdr` command, the embedded servers, the supervisor and the simulator."""
