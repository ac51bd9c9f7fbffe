"""`python -m licmeter.runtime.cli`: how licmeter starts its own processes."""

from licmeter.runtime.cli.main import main

if __name__ == "__main__":
    main()
