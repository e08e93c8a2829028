"""Lambda's management API without its transport: from requests to resources, and from resources to answers.

Shapes and bounds are those of botocore's service model, lambda/2015-03-31/service-2.json.
"""
