"""Who learns from whom: graphs, mixing matrices and round schedules, without torch or ray."""
