"""Any world, any file, any command, any trouble: what is there, what is asked, how each row must end, what Cyclr saw.

scenes.py     what there may be, drawn from so few values that they often meet
table.py      how a row ends where nothing fails, as the page on the lifecycle has it
evidence.py   what the ledger shows of a job, held against what must never be
"""
