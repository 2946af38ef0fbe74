"""From a case and an adapter to judged records: the call, the comparison, the verdict."""
