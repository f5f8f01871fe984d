"""Deploy: what a platform team imports (dashboards, rules, provisioning, links), made from the metric catalogue and the settings."""
