"""Loading, adapting, asking, recording and ablating models: the only home of torch."""
