from autointerp.cli.main import main

main()
