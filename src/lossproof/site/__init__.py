"""The static site: results files in, pages out (``lossproof report``)."""
