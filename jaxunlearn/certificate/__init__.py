"""A certificate of a run for an auditor: one page, one in-toto statement, hashes of everything that it covers.

`certify` reads a finished run, measures extraction on its models again, and writes the certificate; `verify` checks
one. rules.py has the verdict, by written rules over the statement's own figures, so that anybody can draw it again;
measures.py says which figure is which kind of test; docs/audit.md explains all of it to readers of the page.
"""
