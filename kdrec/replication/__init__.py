"""The replication that comes with kdrec: `ship` makes its two files from a home, `report` its page from those files.

`python -m kdrec.replication ship` and `python -m kdrec.replication report` are the doors. The page is made of the
shipped trials and their provenance alone, and the same files give the same bytes. Rooms: `page` lays it out, `results`
words the findings, `audited` the recommender's audit, `figures` draws, `markdown` spells.
"""
