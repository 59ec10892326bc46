"""A page on this machine to try a trained run on a clip, and to see why it says so.

The process that answers the browser knows no model: it checks who asks (`guard`), takes
one clip at a time (`upload`, `jobs`) and keeps it in a folder that goes away
(`scratch`). A second process holds the run (`worker`): it extracts (`reader`), predicts
and explains (`explain`), and writes the answer as HTML (`view`, `timeline`, `charts`).
It can be ended at any time, which is how a job is cancelled.
"""
