"""`python -m my_lib.demo`: print the stack and one result."""

from __future__ import annotations

from my_lib.stack import mean, runtime_stack


def main() -> None:
    """Print one line a component, then a computed value."""
    for name, value in runtime_stack().items():
        print(f"{name:<15} {value}")
    print(f"{'mean(1, 2, 6)':<15} {mean([1.0, 2.0, 6.0])}")


if __name__ == "__main__":
    main()
