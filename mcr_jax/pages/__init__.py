"""One HTML file that shows runs: no network, no server, opened by a double click.

Jinja writes it and Vega-Lite draws in it; what comes from data is escaped on its way
into both (`assets.py`).
"""
