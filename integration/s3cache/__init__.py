"""The plugin `s3cache` with a real S3 server: machines that fill each other, and every fault on the way."""
