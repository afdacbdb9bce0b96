"""What a person sees: the live view, the summary, the HTML report. The only place that knows rich."""
