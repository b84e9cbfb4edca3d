"""Jobs, schedules and sensors. They name asset keys and import no asset."""
