"""What the policy does not promise to deny, one file a limit: written like attacks, with a `LIMIT` each."""
