# namespace/name
terraform import myelin_stack.shop shop/shop
