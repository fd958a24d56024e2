"""Questions about real cultures, from facts that packages carry: items, rules of certainty, wordings, rows."""
