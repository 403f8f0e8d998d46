"""Check a dictionary of anchored terms against the texts it is for, and mend it.

reading      a file -> the dictionary with its faults and their lines and columns
findings     Finding (one fault and its fix), Case (what the checks look at), how findings are shown
audit        all checks -> findings; refuse_errors stops a run before wrong labels are made
coverage     checks of what terms cover, lose to each other, and do to tokens
repair       findings -> the mended dictionary; audit_files does it all for files
"""
