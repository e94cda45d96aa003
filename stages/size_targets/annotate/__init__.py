"""A local page on which a person types how much of each image a class covers: `python -m stages.size_targets.annotate`.

The protocol is that of github.com/XFan2018/size-estimation-experiment, the tool behind the human answers of Fan, Zhang
& Boykov, arXiv 2503.06954: one class in a row, the image with its longer side at half of the window, a grid or a box
to compare with, a training phase with feedback, then answers without it, each with its seconds.

Differences from it: a page in the browser and not PsychoPy; the reference box stands beside the image; training images
are not asked again in the real phase; an answer can be corrected; an image can be left out ("cannot tell").
"""
