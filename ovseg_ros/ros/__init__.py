"""The only room that knows ROS: messages out, synchronisation and the nodes.

Importing this package is cheap and needs no ROS; its modules that need ROS say what to install when it is absent.
"""
