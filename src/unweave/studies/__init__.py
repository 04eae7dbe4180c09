"""The reports that Unweave grew from, done anew: one file a report, our table beside its table."""
