"""Every parameter of the nodes, declared once: name, default, limits and one sentence, for README too."""

from __future__ import annotations

from ovseg_ros.keyframes import KeyframeConfig
from ovseg_ros.mapping import LAYERS, MappingConfig
from ovseg_ros.mapping.config import MAX_VIEWS
from ovseg_ros.query import GoalConfig, calibration
from ovseg_ros.ros.node_parameters import ParameterSpec

MAX_MATCHES = 1000
"""Per query; the answer travels in one message."""

MAPPING_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("backend", "openseg", "Model that turns images into language features."),
    ParameterSpec(
        "vocabulary",
        "",
        "What the model looks for and the map is asked about: household or another packaged name, or a file; empty: "
        "the backend's.",
    ),
    ParameterSpec(
        "device", "auto", "Where model and map live; auto takes a GPU if there is one.", choices=("auto", "cuda", "cpu")
    ),
    ParameterSpec("autostart", True, "Configure and activate on its own, without a lifecycle manager."),
    ParameterSpec(
        "cameras",
        [""],
        "Cameras of the map; camera NAME listens on NAME/rgb/image and so on, the one without a name on rgb/image.",
    ),
    ParameterSpec("frames.map", "map", "Frame in which the map is kept and published, z up."),
    ParameterSpec(
        "pose_source",
        "auto",
        "Where camera poses come from: TF, or the topic odom or camera_pose; auto: tf where tf2_ros is, else pose.",
        choices=("auto", "tf", "odometry", "pose"),
    ),
    ParameterSpec(
        "odometry.camera_offset",
        "",
        "Pose of the camera's optical frame in the odometry's child_frame_id, as 'x y z qx qy qz qw', one for each "
        "camera apart by semicolons; empty: they are the same frame.",
    ),
    ParameterSpec(
        "inputs.transport",
        "raw",
        "How images come; compressed: rgb/image/compressed and depth/image/compressedDepth (png or rvl).",
        choices=("raw", "compressed"),
    ),
    ParameterSpec(
        "inputs.reliability",
        "best_effort",
        "Quality of service of the subscriptions; reliable needs reliable publishers.",
        choices=("best_effort", "reliable"),
    ),
    ParameterSpec(
        "inputs.rectified", False, "The images are rectified already: use camera_info's P and ignore its distortion."
    ),
    ParameterSpec("sync.slop", 0.05, "How far the stamp of depth may be from the colour image's, seconds.", 0.0, 10.0),
    ParameterSpec(
        "sync.pose_gap",
        0.25,
        "How far apart two poses on a topic may be to interpolate the camera's between them, seconds.",
        0.0,
        10.0,
    ),
    ParameterSpec(
        "sync.tf_timeout", 0.5, "How long an image may wait for the transform at its stamp, seconds.", 0.0, 10.0
    ),
    ParameterSpec(
        "sync.matcher",
        "own",
        "What pairs colour and depth; message_filters comes with a ROS distribution, and why own is better is in "
        "docs/architecture.md.",
        choices=("own", "message_filters"),
    ),
    ParameterSpec("sync.queue_size", 10, "Images that may wait for a partner, and messages kept by DDS.", 1, 1000),
    ParameterSpec("mapping.voxel_size", MappingConfig.voxel_size, "Edge of a voxel, metres.", 0.005, 1.0),
    ParameterSpec("mapping.min_depth", MappingConfig.min_depth, "Nearer readings are ignored, metres.", 0.0, 100.0),
    ParameterSpec("mapping.max_depth", MappingConfig.max_depth, "Farther readings are ignored, metres.", 0.1, 1000.0),
    ParameterSpec(
        "mapping.feature_dtype",
        MappingConfig.feature_dtype,
        "Precision of the features in the map; float16 takes 3 bytes a number instead of 4.",
        choices=("float32", "float16"),
    ),
    ParameterSpec(
        "mapping.feature_voxel_size",
        MappingConfig.feature_voxel_size,
        "Edge of the voxels that share a feature, a multiple of voxel_size; 0: each has its own, metres.",
        0.0,
        10.0,
    ),
    ParameterSpec(
        "mapping.feature_components",
        MappingConfig.feature_components,
        "Compress features to so many numbers, by what the first frames are like; 0: don't.",
        0,
        4096,
    ),
    ParameterSpec(
        "mapping.max_weight",
        MappingConfig.max_weight,
        "Pixels that a voxel's mean counts for at most, so that old views fade; 0: no limit.",
        0.0,
        1e9,
    ),
    ParameterSpec(
        "mapping.layers",
        MappingConfig.layers,
        "What the map holds, each including those before; from occupancy on, what is gone is forgotten.",
        choices=LAYERS,
    ),
    ParameterSpec(
        "mapping.decay_seconds",
        MappingConfig.decay_seconds,
        "Seconds in which evidence of free and occupied space fades by one of 20 steps; 0: never.",
        0.0,
        1e6,
    ),
    ParameterSpec(
        "mapping.region",
        "",
        "Box to map: lowest x y z and highest x y z, metres in frames.map, as '-5 -5 -1 5 5 3'; empty: everything.",
    ),
    ParameterSpec(
        "mapping.views",
        MappingConfig.views,
        "Pictures kept in the map at most, to look answers up in (refer.verify); files hold them, too; 0: none.",
        0,
        MAX_VIEWS,
    ),
    ParameterSpec(
        "mapping.memory_limit",
        MappingConfig.memory_limit,
        "Megabytes of the map in memory; what wasn't seen for longest waits on disk (TMPDIR) beyond that; 0: no limit.",
        0.0,
        1e6,
    ),
    ParameterSpec(
        "mapping.queue_size",
        5,
        "Matched frames of a camera that may wait for the model; then its oldest is dropped.",
        1,
        10000,
    ),
    ParameterSpec(
        "keyframes.distance",
        KeyframeConfig.distance,
        "Only keyframes reach the model: the camera moved farther than this since its last one, metres; 0: off.",
        0.0,
        100.0,
    ),
    ParameterSpec(
        "keyframes.angle",
        KeyframeConfig.angle,
        "A frame is one, too, when it turned further than this since, degrees; 0: off; all three 0: all are.",
        0.0,
        179.0,
    ),
    ParameterSpec("keyframes.period", KeyframeConfig.period, "And when so many seconds passed; 0: off.", 0.0, 3600.0),
    ParameterSpec("publish_period", 2.0, "Seconds between two outputs of a topic, when someone listens.", 0.1, 3600.0),
    ParameterSpec(
        "occupancy.min_height", 0.1, "What is lower doesn't show in ~/occupancy, metres.", -1000.0, 1000.0, live=True
    ),
    ParameterSpec(
        "occupancy.max_height", 1.5, "What is higher doesn't show in ~/occupancy, metres.", -1000.0, 1000.0, live=True
    ),
    ParameterSpec(
        "query.min_score",
        calibration.MIN_SCORE,
        "Smallest score of a match, unless the request names one.",
        0.0,
        1.0,
        live=True,
    ),
    ParameterSpec(
        "query.max_matches",
        calibration.MAX_MATCHES,
        "Most matches per query, unless the request names it.",
        1,
        MAX_MATCHES,
        live=True,
    ),
    ParameterSpec(
        "refer.regions",
        "",
        "File of named places for ~/refer, 'the chairs in the kitchen'; ovseg regions makes one; empty: none.",
    ),
    ParameterSpec(
        "refer.model",
        "",
        "Model that looks things up in the map's pictures, such as rs2sam2, for ~/find_in_views and refer.verify; "
        "empty: the backend itself.",
    ),
    ParameterSpec(
        "refer.verify",
        False,
        "Look the best candidates of ~/refer up with the model in the map's pictures; needs mapping.views.",
        live=True,
    ),
    ParameterSpec(
        "locate.clearance",
        GoalConfig.clearance,
        "From the middle of the robot to whatever isn't known to be free, where it stands and on the way, metres.",
        0.0,
        5.0,
        live=True,
    ),
    ParameterSpec(
        "locate.min_distance",
        GoalConfig.min_distance,
        "Smallest distance on the ground between the robot and the thing it faces, metres.",
        0.0,
        20.0,
        live=True,
    ),
    ParameterSpec(
        "locate.max_distance",
        GoalConfig.max_distance,
        "Largest distance on the ground between the robot and the thing it faces, metres.",
        0.1,
        20.0,
        live=True,
    ),
    ParameterSpec(
        "locate.camera_height",
        GoalConfig.camera_height,
        "Height above the floor from which the robot must see the thing, metres.",
        0.05,
        5.0,
        live=True,
    ),
    ParameterSpec(
        "locate.robot_height",
        GoalConfig.robot_height,
        "Height above the floor that must be free for the robot, at least locate.camera_height, metres.",
        0.2,
        5.0,
        live=True,
    ),
)

_OF_MAPPING = {spec.name: spec for spec in MAPPING_PARAMETERS}

SEGMENTATION_PARAMETERS: tuple[ParameterSpec, ...] = (
    _OF_MAPPING["backend"],
    ParameterSpec(
        "vocabulary",
        "",
        "Words for the concepts, and what competes: household or another packaged name, or a file; empty: the model's.",
    ),
    ParameterSpec(
        "device", "auto", "Where the model lives; auto takes a GPU if there is one.", choices=("auto", "cuda", "cpu")
    ),
    _OF_MAPPING["autostart"],
    _OF_MAPPING["inputs.reliability"],
    ParameterSpec(
        "concepts", "", "Names of the labels 1, 2, ... apart by commas, at most 255; empty: all of the vocabulary."
    ),
    ParameterSpec("queue_size", 1, "Images that may wait for the model; then the oldest is dropped.", 1, 10000),
)

PLAYER_PARAMETERS: tuple[ParameterSpec, ...] = (
    ParameterSpec("sequence", "", "Folder of a recording; empty plays a generated room."),
    ParameterSpec("layout", "auto", "Layout of the recording; auto looks at its files."),
    ParameterSpec("room_seed", 0, "Seed of the generated room.", 0, 2**31 - 1),
    ParameterSpec("room_frames", 60, "Frames along the path through the generated room.", 1, 100000),
    ParameterSpec("room_size", "320x240", "Size of the generated images, WIDTHxHEIGHT pixels."),
    ParameterSpec("rate", 10.0, "Frames per second.", 0.01, 1000.0),
    ParameterSpec("loop", False, "Begin again at the end."),
    ParameterSpec(
        "wait_for_subscribers", 10.0, "Longest wait for listeners on all topics before playing, s.", 0.0, 3600.0
    ),
    ParameterSpec("depth_encoding", "32FC1", "Depth in metres or in millimetres.", choices=("32FC1", "16UC1")),
    ParameterSpec(
        "pose_output",
        "pose",
        "How poses are published: on camera_pose, on odom, or on /tf (needs tf2_ros).",
        choices=("pose", "odometry", "tf"),
    ),
    ParameterSpec("map_frame", "map", "Frame of the camera poses."),
    ParameterSpec("camera_frame", "camera_optical_frame", "Frame of the images."),
    ParameterSpec(
        "stamps", "clock", "Stamps of now, as a camera has, or those of the recording.", choices=("clock", "recording")
    ),
    ParameterSpec("publish_clock", False, "Publish the stamp of each frame on /clock too, for use_sim_time."),
)
