"""The bench: how good a system is at subject, style and combined tasks, with intervals, beside other systems.

A bench source gives items, a system makes one image an item, metrics measure the images, the summary puts a 95 %
interval to every mean. Images are files between these steps: a run that was stopped goes on, and images made elsewhere
are measured like our own.
"""
