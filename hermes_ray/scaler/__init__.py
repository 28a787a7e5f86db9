"""Keeps the pools at their sizes: control loop, fleet, roster, memory; without ray."""
