//! What the model region offers: zones, subnets, images, instance types, parameters. A small world with the shape of the real one.

/// The region.
pub const REGION: &str = "us-east-1";
/// The account.
pub const ACCOUNT: &str = "123456789012";
/// Availability zones.
pub const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];
/// The VPC.
pub const VPC: &str = "vpc-0a1b2c3d4e5f60718";
/// The security group that is always there.
pub const SECURITY_GROUP: &str = "sg-0a1b2c3d4e5f60718";

/// A subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: &'static str,
    /// Its zone.
    pub zone: &'static str,
    /// Its addresses: the first three numbers of a /24.
    pub prefix: &'static str,
}

/// One subnet in each zone.
pub const SUBNETS: [Subnet; 3] = [
    Subnet {
        id: "subnet-0aaaaaaaaaaaaaaa1",
        zone: "us-east-1a",
        prefix: "10.0.1",
    },
    Subnet {
        id: "subnet-0bbbbbbbbbbbbbbb2",
        zone: "us-east-1b",
        prefix: "10.0.2",
    },
    Subnet {
        id: "subnet-0ccccccccccccccc3",
        zone: "us-east-1c",
        prefix: "10.0.3",
    },
];

/// An image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Its id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// When it was made.
    pub created: &'static str,
}

/// Two generations of an image for each architecture.
pub const IMAGES: [Image; 4] = [
    Image {
        id: "ami-08600000000000001",
        name: "al2023-ami-2023.8-x86_64",
        architecture: "x86_64",
        created: "2026-09-01T00:00:00.000Z",
    },
    Image {
        id: "ami-08600000000000002",
        name: "al2023-ami-2023.9-x86_64",
        architecture: "x86_64",
        created: "2026-11-01T00:00:00.000Z",
    },
    Image {
        id: "ami-0a640000000000001",
        name: "al2023-ami-2023.8-arm64",
        architecture: "arm64",
        created: "2026-09-01T00:00:00.000Z",
    },
    Image {
        id: "ami-0a640000000000002",
        name: "al2023-ami-2023.9-arm64",
        architecture: "arm64",
        created: "2026-11-01T00:00:00.000Z",
    },
];

/// Public SSM parameters and the image that each names at first.
pub const PARAMETERS: [(&str, &str); 2] = [
    (
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64",
        "ami-08600000000000001",
    ),
    (
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
        "ami-0a640000000000001",
    ),
];

/// An instance type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceType {
    /// Its name.
    pub name: &'static str,
    /// `x86_64` or `arm64`.
    pub architecture: &'static str,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory: u32,
    /// GPUs.
    pub gpus: u32,
    /// On-demand price in thousandths of a dollar an hour; spot is shown at 30 % of it, by zone a little more.
    pub price: u32,
}

const fn x86(name: &'static str, vcpus: u32, memory: u32, gpus: u32, price: u32) -> InstanceType {
    InstanceType {
        name,
        architecture: "x86_64",
        vcpus,
        memory,
        gpus,
        price,
    }
}

const fn arm(name: &'static str, vcpus: u32, memory: u32, price: u32) -> InstanceType {
    InstanceType {
        name,
        architecture: "arm64",
        vcpus,
        memory,
        gpus: 0,
        price,
    }
}

/// The types on offer.
pub const TYPES: [InstanceType; 14] = [
    x86("t3.medium", 2, 4_096, 0, 42),
    x86("m5.large", 2, 8_192, 0, 96),
    x86("m6i.large", 2, 8_192, 0, 96),
    x86("m6i.xlarge", 4, 16_384, 0, 192),
    x86("c6i.large", 2, 4_096, 0, 85),
    x86("r6i.large", 2, 16_384, 0, 126),
    x86("g4dn.xlarge", 4, 16_384, 1, 526),
    x86("g4dn.2xlarge", 8, 32_768, 1, 752),
    x86("g5.xlarge", 4, 16_384, 1, 1_006),
    x86("g5.2xlarge", 8, 32_768, 1, 1_212),
    x86("g6.xlarge", 4, 16_384, 1, 805),
    arm("m7g.large", 2, 8_192, 82),
    arm("m7g.xlarge", 4, 16_384, 163),
    arm("c7g.large", 2, 4_096, 72),
];

/// The type of a name.
pub fn instance_type(name: &str) -> Option<&'static InstanceType> {
    TYPES.iter().find(|t| t.name == name)
}

/// The subnet of an id.
pub fn subnet(id: &str) -> Option<&'static Subnet> {
    SUBNETS.iter().find(|s| s.id == id)
}

/// The image of an id.
pub fn image(id: &str) -> Option<&'static Image> {
    IMAGES.iter().find(|i| i.id == id)
}
