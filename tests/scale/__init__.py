"""The site on several machines, all of them this one: Postgres, a replica set, two of each process behind nginx; and kills."""
